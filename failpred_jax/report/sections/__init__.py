"""The sections of the page, one module each; every module in this package is found automatically."""
