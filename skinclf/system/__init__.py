"""The process and the machine: signals, threads, retries, ports, names. Imports errors alone."""
