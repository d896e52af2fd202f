"""The Spark side: archives, tables and scores as DataFrames. Never imports tensorflow."""
