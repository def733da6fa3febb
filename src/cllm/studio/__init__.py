"""The studio: CLLM in a browser. Its server only reads the files of runs and sends commands; it never loads torch."""
