select * from {ns}.list_v1($1::text, $2::integer, $3::boolean, $4::smallint, $5::text, $6::text, $7::bytea, $8::integer)
