"""The jobs, each one function: config in, folders on storage out, a summary back."""
