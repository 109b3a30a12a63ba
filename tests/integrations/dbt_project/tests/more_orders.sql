select 1 from {{ ref('orders') }} having count(*) < 3
