"""Files of named arrays in the formats that people have, one format a file; discovered automatically (see registry.py).

`read_file` recognizes a format by its content and returns the arrays as they are stored; what they mean is the business
of prediction_file.py.
"""
