select * from {ns}.get_v1($1::text[])
