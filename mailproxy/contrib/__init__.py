"""mailproxy in other people's frameworks: each package here needs that framework and `mailproxy.client`."""
