select * from {ns}.keys_v2($1, $2, $3::integer, $4)
