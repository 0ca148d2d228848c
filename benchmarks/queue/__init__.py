"""The outbound queue: in, out, both at once; beside a dead domain; and when it is large."""
