//! Routes.

use picloud::store::{
    AppIngress, Conflict, Delivery, Endpoints, Error, IngressPolicy, Page, Resource, Route,
    RouteAuth, RouteChange, RoutePolicy, ScriptId,
};

use crate::fixtures::{ALL, app, domain_of, id, now, open, route, script};
use crate::on_both_databases;

on_both_databases! {
    async fn a_route_is_found_listed_and_deleted(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let hello = script(&store, &shop.id, "hello").await;
        let first = store
            .insert_route(route(&hello, "GET", "", "/a"))
            .await
            .unwrap();
        let second = store
            .insert_route(route(&hello, "*", "", "/b/{id}"))
            .await
            .unwrap();
        assert_eq!(store.find_route(&first.id).await.unwrap(), first);
        assert_eq!(
            store.list_routes(&shop.id, ALL).await.unwrap(),
            [second, first.clone()]
        );
        let page = store
            .list_routes(
                &shop.id,
                Page {
                    limit: 1,
                    offset: 1,
                },
            )
            .await
            .unwrap();
        assert_eq!(page, std::slice::from_ref(&first));
        store.delete_route(&first.id).await.unwrap();
        let again = store.delete_route(&first.id).await;
        assert!(
            matches!(again, Err(Error::NotFound(Resource::Route))),
            "{again:?}"
        );
    }

    async fn a_route_is_changed_and_keeps_its_place(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        let first = script(&store, &shop.id, "first").await;
        let second = script(&store, &shop.id, "second").await;
        let theirs = script(&store, &blog.id, "theirs").await;
        let made = store.insert_route(route(&first, "GET", "", "/a")).await.unwrap();
        assert_eq!(made.policy, RoutePolicy::default());
        let auth = RouteAuth::Key { secrets: vec!["key".to_owned()], header: None };
        let policy = RoutePolicy { auth, concurrency_max: Some(3), ..RoutePolicy::default() };
        let change = |script_id: &ScriptId| RouteChange {
            script_id: script_id.clone(),
            delivery: Delivery::Async,
            policy: policy.clone(),
        };
        let before = store.revision();
        let changed = store.update_route(&made.id, change(&second.id)).await.unwrap();
        let expected = Route {
            script_id: second.id.clone(),
            delivery: Delivery::Async,
            policy: policy.clone(),
            ..made.clone()
        };
        assert_eq!((&changed, store.revision() > before), (&expected, true));
        assert_eq!(store.find_route(&made.id).await.unwrap(), expected);
        assert_eq!(store.definitions().await.unwrap().routes[0].policy, policy);
        let wrong = store.update_route(&made.id, change(&theirs.id)).await;
        assert!(matches!(wrong, Err(Error::NotFound(Resource::Script))), "{wrong:?}");
        let none = store.update_route(&id(), change(&first.id)).await;
        assert!(matches!(none, Err(Error::NotFound(Resource::Route))), "{none:?}");
    }

    async fn an_app_asks_for_nothing_until_it_is_told_to(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        app(&store, "blog").await;
        assert_eq!(store.find_ingress(&shop.id).await.unwrap(), IngressPolicy::default());
        assert_eq!(store.definitions().await.unwrap().ingress, []);
        let policy = IngressPolicy { endpoints: Endpoints::Closed, ..IngressPolicy::default() };
        store.update_ingress(&shop.id, &policy, now()).await.unwrap();
        assert_eq!(store.find_ingress(&shop.id).await.unwrap(), policy);
        let expected = AppIngress { app_id: shop.id.clone(), ingress: policy };
        assert_eq!(store.definitions().await.unwrap().ingress, [expected]);
        store.update_ingress(&shop.id, &IngressPolicy::default(), now()).await.unwrap();
        assert_eq!(store.definitions().await.unwrap().ingress, []);
        let none = store.update_ingress(&id(), &IngressPolicy::default(), now()).await;
        assert!(matches!(none, Err(Error::NotFound(Resource::App))), "{none:?}");
        let none = store.find_ingress(&id()).await;
        assert!(matches!(none, Err(Error::NotFound(Resource::App))), "{none:?}");
    }

    async fn a_route_of_the_same_shape_is_refused_and_the_first_is_named(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        let hello = script(&store, &shop.id, "hello").await;
        let other = script(&store, &blog.id, "hello").await;
        domain_of(&store, &shop.id, "www.example").await;
        let shaped = |route: Route| Route {
            shape: "/{}".into(),
            ..route
        };

        let first = store
            .insert_route(shaped(route(&hello, "GET", "", "/{id}")))
            .await
            .unwrap();
        let same = store
            .insert_route(shaped(route(&hello, "GET", "", "/{name}")))
            .await;
        match same {
            Err(Error::Conflict(Conflict::Route(named))) => {
                assert_eq!((&named.id, &named.path), (&first.id, &first.path));
            }
            other => panic!("{other:?}"),
        }
        // A different method, host or app makes a different route.
        store
            .insert_route(shaped(route(&hello, "POST", "", "/{id}")))
            .await
            .unwrap();
        store
            .insert_route(shaped(route(&hello, "GET", "www.example", "/{id}")))
            .await
            .unwrap();
        store
            .insert_route(shaped(route(&other, "GET", "", "/{id}")))
            .await
            .unwrap();
    }

    async fn a_route_leads_to_a_script_of_its_own_app(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        let hello = script(&store, &shop.id, "hello").await;
        let foreign = Route {
            app_id: blog.id,
            ..route(&hello, "GET", "", "/")
        };
        let missing = Route {
            script_id: id(),
            ..route(&hello, "GET", "", "/")
        };
        for route in [foreign, missing] {
            let refused = store.insert_route(route).await;
            assert!(
                matches!(refused, Err(Error::NotFound(Resource::Script))),
                "{refused:?}"
            );
        }
    }

    async fn a_route_stands_only_under_a_domain_of_its_own_app(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        let hello = script(&store, &shop.id, "hello").await;
        domain_of(&store, &blog.id, "blog.example").await;
        for host in ["blog.example", "nobodys.example"] {
            let refused = store.insert_route(route(&hello, "GET", host, "/")).await;
            assert!(
                matches!(refused, Err(Error::NotFound(Resource::Domain))),
                "{refused:?}"
            );
        }
    }
}
