select * from {ns}.look_v2($1, $2)
