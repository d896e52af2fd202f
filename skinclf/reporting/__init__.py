"""What people look at: figures, pages, model cards, MLflow, progress."""
