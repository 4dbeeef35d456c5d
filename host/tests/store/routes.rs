//! Routes.

use picloud::store::{Conflict, Error, Page, Resource, Route};

use crate::fixtures::{ALL, app, domain_of, id, open, route, script};
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
            Err(Error::Conflict(Conflict::Route(named))) => assert_eq!(*named, first),
            other => panic!("{other:?}"),
        }
        // Another method, host or app is another route.
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
