select * from {ns}.act_one_v1($1::integer, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::bigint[])
