"""The files of the model ``multilingual`` for Commonplace. There is no code here."""
