"""What is fitted on held-out data: temperature, Platt, isotonic, conformal sets, and thresholds."""
