// Package cloud is the mailbox between issuers and gateways, as a service over HTTPS
// (contract §4). It is blind: what it carries down is sealed to the gateway, what it
// carries up is sealed to its issuer. It can delay and withhold; it cannot forge or read,
// and a withheld item shows in the issuer's manifest.
//
// # Feeds
//
// A gateway holds one stream open, from the change that it knows on. After each batch,
// and every 25 s, an event "head" says where the feed ends and what the digest of all
// items is, so that a change that was lost anywhere shows within 25 s. Who cannot stream
// polls with wait=55. A feed that cannot be continued (another epoch, or older than the
// floor) is answered with 410, and the snapshot has everything.
//
// Replicas need nothing of each other but the database behind [Mailbox]. A replica that
// stops says goaway to its streams, with a time for each to come back at, so that a city
// does not knock at once.
//
// # Who speaks
//
// Gateways and issuers show an assertion that they signed for this cloud's origin. The
// first time they come with a one-time code. Each has limits of its own: requests a
// second, streams, items at a gateway.
package cloud
