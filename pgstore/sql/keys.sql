select * from {ns}.keys_v1($1, $2::integer, $3)
