//! Retention deletes old executions, and nothing else.

use crate::app::TestApp;
use crate::with_an_app;

with_an_app! {
    async fn executions_go_when_they_are_too_old_and_no_others(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let mut old = Vec::new();
        for _ in 0..3 {
            old.push(app.get("/x/shop/hello").send().await.is(200).execution_id().to_owned());
        }
        app.flush().await;
        app.pass_days(10);
        let young = app.get("/x/shop/hello").send().await.is(200);
        app.flush().await;
        assert_eq!(app.retention().run_once().await.unwrap().executions, 0);

        app.pass_days(5);
        assert_eq!(app.retention().run_once().await.unwrap().executions, 3);
        for id in old {
            let path = format!("/executions/{id}");
            app.admin().get(&path).send().await.refuses(404, "execution_not_found");
        }
        app.execution(young.execution_id()).await;
        assert_eq!(app.count_executions(&id).await, 1);
        app.get("/x/shop/hello").send().await.is(200);
    }
}
