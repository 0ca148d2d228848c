"""What the measurements share: peers on disk, time and CPU, counts that must be right, reports."""
