select * from {ns}.list_v2($1, $2::integer, $3::boolean, $4::smallint, $5, $6, $7, $8::integer, $9::bigint)
