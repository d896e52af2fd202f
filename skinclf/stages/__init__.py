"""The jobs, each one function: settings in, folders on storage out, a summary back; and what they
share.
"""
