"""The outbound queue: what it takes in and gives out, beside a dead domain, and when it is large."""
