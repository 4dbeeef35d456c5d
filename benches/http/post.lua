-- The request to every server of the bench, with the same body as `BODY` in benches/src/lib.rs.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = '{"name":"Ada","items":[{"price":3,"count":2},{"price":5,"count":1}]}'
