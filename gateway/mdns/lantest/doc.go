// Package lantest makes small home networks of Linux network namespaces, for tests that want real
// peers: a gateway, phones, cables that are pulled. It needs root, iproute2 and the variable GARDIEN_LAN; without them
// a test is skipped, and says so.
//
//	n := lantest.New(t)                                  // hosts "gw" and "phone" on the network "home"
//	n.Run("phone", "ping", "-c1", "10.77.0.1")
//	n.Plug("gw", "wifi", "eth1", "10.78.0.1/24")         // a second network
//	cmd := n.Command("gw", "gardiend", "--config", file) // not started yet
//
// All is taken away at the end of the test, with what still runs in it.
package lantest
