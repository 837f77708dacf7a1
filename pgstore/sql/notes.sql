select * from {ns}.notes_v1($1)
