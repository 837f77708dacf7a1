select * from {ns}.look_v1($1, $2)
