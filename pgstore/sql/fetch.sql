select * from {ns}.fetch_v3($1, $2::bigint, $3, $4::integer[], $5, $6::bigint[], $7::bigint)
