"""What people look at: pictures, pages, model cards, MLflow, progress."""
