select * from {ns}.lookup_v1($1::integer[], $2::text[], $3::bytea[], $4::text[], $5::bytea[], $6::bigint[])
