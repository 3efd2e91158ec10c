"""What `overhead.py` is made of: processes, targets, figures, the run, its summary, the table and the chart."""
