select * from {ns}.sweep_v1($1::integer, $2::text[], $3::bigint[])
