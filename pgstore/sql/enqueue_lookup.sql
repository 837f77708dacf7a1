select * from {ns}.lookup_v1($1::integer[], $2, $3, $4, $5, $6::bigint[])
