//! The definitions that the ingress reads, and the revision that tells it to read them again.

use picloud::store::{
    AppChange, Delivery, DomainDefinition, RouteDefinition, RoutePolicy, ScriptChange,
    ScriptDefinition, ScriptLimits,
};

use crate::fixtures::{app, domain_of, execution, id, new_app, now, open, route, script, source};
use crate::on_both_databases;

on_both_databases! {
    async fn definitions_name_the_version_that_runs(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let domain = domain_of(&store, &shop.id, "www.example").await;
        let made = store
            .insert_route(route(&hello, "GET", "www.example", "/{id}"))
            .await
            .unwrap();
        let limits = ScriptLimits {
            fuel_max: Some(1),
            memory_bytes_max: Some(2),
            wall_ms_max: Some(3),
        };
        let change = ScriptChange {
            source: Some(source("2")),
            limits: Some(limits),
            updated_at: now(),
            ..ScriptChange::default()
        };
        store.update_script(&hello.id, change).await.unwrap();

        store.put_private_hosts(&shop.id, "intranet 10.0.0.1:80".to_owned(), 1).await.unwrap();
        store.put_private_hosts(&shop.id, "intranet".to_owned(), 2).await.unwrap();
        assert_eq!(store.find_private_hosts(&shop.id).await.unwrap(), "intranet");
        let mut expected = ScriptDefinition {
            private_hosts: "intranet".to_owned(),
            app_id: shop.id.clone(),
            app_name: "shop".into(),
            script_id: hello.id.clone(),
            script_name: "hello".into(),
            version: 2,
            source_sha256: "sha256 of 2".into(),
            limits,
            endpoint_closed_at: None,
        };
        let definitions = store.definitions().await.unwrap();
        assert_eq!(definitions.revision, store.revision());
        assert_eq!(definitions.scripts, [expected.clone()]);
        let served = DomainDefinition { host: domain.host, app_id: domain.app_id };
        assert_eq!(definitions.domains, [served]);
        let expected_route = RouteDefinition {
            id: made.id,
            app_id: shop.id,
            app_name: "shop".into(),
            script_id: hello.id.clone(),
            script_name: "hello".into(),
            method: "GET".into(),
            host: "www.example".into(),
            path: "/{id}".into(),
            shape: "/{id}".into(),
            delivery: Delivery::Sync,
            policy: RoutePolicy::default(),
        };
        assert_eq!(definitions.routes, [expected_route]);

        store.rollback_script(&hello.id, 1, now()).await.unwrap();
        expected.version = 1;
        expected.source_sha256 = "sha256 of 1".into();
        assert_eq!(store.definitions().await.unwrap().scripts, [expected]);
    }

    async fn every_change_of_a_definition_moves_the_revision_and_nothing_else_does(database) {
        let store = open(database).await;
        let mut watched = store.watch_revision();
        let mut last = store.revision();
        let mut moved = || {
            let before = std::mem::replace(&mut last, store.revision());
            last > before
        };

        let shop = app(&store, "shop").await;
        assert!(moved());
        assert!(watched.has_changed().unwrap());
        assert_eq!(*watched.borrow_and_update(), store.revision());
        store
            .update_app(
                &shop.id,
                AppChange {
                    updated_at: now(),
                    ..AppChange::default()
                },
            )
            .await
            .unwrap();
        assert!(moved());
        let hello = script(&store, &shop.id, "hello").await;
        assert!(moved());
        store
            .update_script(&hello.id, ScriptChange::default())
            .await
            .unwrap();
        assert!(moved());
        store.rollback_script(&hello.id, 1, now()).await.unwrap();
        assert!(moved());
        domain_of(&store, &shop.id, "www.example").await;
        assert!(moved());
        let made = store
            .insert_route(route(&hello, "GET", "", "/"))
            .await
            .unwrap();
        assert!(moved());
        store.delete_route(&made.id).await.unwrap();
        assert!(moved());
        store.delete_domain(&shop.id, "www.example").await.unwrap();
        assert!(moved());

        store.insert_setting("a", "b", now()).await.unwrap();
        store.record(execution(&shop.id, &hello.id)).await.unwrap();
        store.flush().await.unwrap();
        store.delete_executions_before(None, i64::MAX, 10).await.unwrap();
        store.insert_app(new_app("shop")).await.unwrap_err();
        store.delete_script(&id()).await.unwrap_err();
        store.definitions().await.unwrap();
        assert!(!moved());

        store.delete_script(&hello.id).await.unwrap();
        assert!(moved());
        store.delete_app(&shop.id).await.unwrap();
        assert!(moved());
    }
}
