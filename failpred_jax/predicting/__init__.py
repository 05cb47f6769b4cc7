"""New images from files, through a finished run, into a file: what --mode=predict does."""
