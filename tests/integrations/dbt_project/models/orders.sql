select 1 as id, cast(null as integer) as customer, current_timestamp as loaded_at
union all
select 1, 2, current_timestamp
