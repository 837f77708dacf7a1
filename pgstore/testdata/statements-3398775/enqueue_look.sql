select * from {ns}.look_v1($1::text[], $2::bytea[])
