"""Floor 7: the command line. Commands parse, call one library function, and print."""
