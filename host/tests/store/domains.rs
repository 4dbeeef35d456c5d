//! Domains.

use picloud::store::{AppId, Conflict, Domain, Error, Resource};

use crate::fixtures::{ALL, app, domain_of, id, now, open, route, script};
use crate::on_both_databases;

on_both_databases! {
    async fn a_domain_belongs_to_the_app_that_claimed_it_first(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        let claimed = domain_of(&store, &shop.id, "www.example").await;
        assert_eq!(store.find_domain("www.example").await.unwrap(), claimed);
        for app in [&shop, &blog] {
            let domain = Domain {
                app_id: app.id.clone(),
                ..claimed.clone()
            };
            let again = store.insert_domain(domain).await;
            assert!(
                matches!(again, Err(Error::Conflict(Conflict::Domain))),
                "{again:?}"
            );
        }
        let domain = Domain {
            host: "x.example".into(),
            app_id: id::<AppId>(),
            created_at: now(),
        };
        let orphan = store.insert_domain(domain).await;
        assert!(
            matches!(orphan, Err(Error::NotFound(Resource::App))),
            "{orphan:?}"
        );
    }

    async fn domains_are_listed_by_app_newest_first(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        let first = domain_of(&store, &shop.id, "b.example").await;
        domain_of(&store, &blog.id, "c.example").await;
        let last = domain_of(&store, &shop.id, "a.example").await;
        assert_eq!(store.list_domains(&shop.id).await.unwrap(), [last, first]);
    }

    async fn a_domain_given_up_takes_only_its_own_routes_along(database) {
        let store = open(database).await;
        let shop = app(&store, "shop").await;
        let blog = app(&store, "blog").await;
        let hello = script(&store, &shop.id, "hello").await;
        domain_of(&store, &shop.id, "www.example").await;
        store
            .insert_route(route(&hello, "GET", "www.example", "/"))
            .await
            .unwrap();
        let kept = store
            .insert_route(route(&hello, "GET", "", "/"))
            .await
            .unwrap();

        let foreign = store.delete_domain(&blog.id, "www.example").await;
        assert!(
            matches!(foreign, Err(Error::NotFound(Resource::Domain))),
            "{foreign:?}"
        );
        assert_eq!(store.list_routes(&shop.id, ALL).await.unwrap().len(), 2);

        store.delete_domain(&shop.id, "www.example").await.unwrap();
        assert_eq!(store.list_routes(&shop.id, ALL).await.unwrap(), [kept]);
        assert!(matches!(
            store.find_domain("www.example").await,
            Err(Error::NotFound(Resource::Domain))
        ));
    }
}
