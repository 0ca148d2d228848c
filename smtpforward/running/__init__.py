"""What the process has to do with those who start and watch it: supervisor, sockets, successor."""
