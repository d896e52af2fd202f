"""The Spark side: archives, tables and scores as DataFrames and tasks. Never imports tensorflow."""
