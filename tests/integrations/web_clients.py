"""How each HTTP client fetches a URL with a safe connect, and which errors its users expect.

A client is a function ``fetch(url, timeout, connector=None, context=None, proxy=None)`` that gives the body. Nothing is
imported before it is needed, for the functions are called in child interpreters, too.
"""


def http_client(url, timeout, connector=None, context=None):
    from safeconnect.integrations.web import HTTPConnection, HTTPSConnection

    scheme, _, place = url.partition("://")
    place, _, path = place.partition("/")
    if scheme == "https":
        connection = HTTPSConnection(place, timeout=timeout, connector=connector, context=context)
    else:
        connection = HTTPConnection(place, timeout=timeout, connector=connector)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().read()
    finally:
        connection.close()


def urllib_request(url, timeout, connector=None, context=None, proxy=None):
    import urllib.request

    from safeconnect.integrations.web import HTTPHandler, HTTPSHandler

    handlers = [HTTPHandler(connector=connector), HTTPSHandler(connector=connector, context=context)]
    proxies = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {})
    with urllib.request.build_opener(*handlers, proxies).open(url, timeout=timeout) as answer:
        return answer.read()


def xmlrpc_client(url, timeout, connector=None, context=None):
    import xmlrpc.client

    from safeconnect import Connector
    from safeconnect.integrations.web import SafeTransport, Transport

    connector = connector or Connector(timeout=timeout)
    if context is None:
        transport = Transport(connector=connector)
    else:
        transport = SafeTransport(context=context, connector=connector)
    with xmlrpc.client.ServerProxy(url, transport=transport) as server:
        return server.seven()


def urllib3(url, timeout, connector=None, context=None, proxy=None):
    from safeconnect.integrations.urllib3 import PoolManager, ProxyManager

    settings = {"timeout": timeout, "retries": False, "connector": connector, "ssl_context": context}
    with ProxyManager(proxy, **settings) if proxy else PoolManager(**settings) as manager:
        return manager.request("GET", url).data


def requests(url, timeout, connector=None, context=None, proxy=None):
    import requests

    from safeconnect.integrations.requests import HTTPAdapter

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *arguments, **keywords):
            super().init_poolmanager(*arguments, ssl_context=context, **keywords)

        def proxy_manager_for(self, proxy, **keywords):
            return super().proxy_manager_for(proxy, ssl_context=context, **keywords)

    with requests.Session() as session:
        session.mount("http://", Adapter(connector=connector))
        session.mount("https://", Adapter(connector=connector))
        session.trust_env = False
        proxies = {"http": proxy, "https": proxy} if proxy else None
        return session.get(url, timeout=timeout, proxies=proxies).content


def httpcore(url, timeout, connector=None, context=None, proxy=None):
    import httpcore

    from safeconnect.integrations.httpcore import SyncBackend

    settings = {"network_backend": SyncBackend(connector), "ssl_context": context}
    with httpcore.HTTPProxy(proxy, **settings) if proxy else httpcore.ConnectionPool(**settings) as pool:
        return pool.request("GET", url, extensions={"timeout": {"connect": timeout}}).content


def httpx(url, timeout, connector=None, context=None, proxy=None):
    import httpx

    from safeconnect.integrations.httpx import HTTPTransport

    transport = HTTPTransport(connector=connector, verify=context or False, proxy=httpx.Proxy(proxy) if proxy else None)
    with httpx.Client(transport=transport, timeout=timeout) as client:
        return client.get(url).content


def error_names(client):
    """The errors of a refused connect, and of one that is not answered: module and class."""
    return {
        http_client: ("builtins.ConnectionRefusedError", "builtins.TimeoutError"),
        urllib_request: ("urllib.error.URLError", "urllib.error.URLError"),
        xmlrpc_client: ("builtins.ConnectionRefusedError", "builtins.TimeoutError"),
        urllib3: ("urllib3.exceptions.NewConnectionError", "urllib3.exceptions.ConnectTimeoutError"),
        requests: ("requests.exceptions.ConnectionError", "requests.exceptions.ConnectTimeout"),
        httpcore: ("httpcore.ConnectError", "httpcore.ConnectTimeout"),
        httpx: ("httpx.ConnectError", "httpx.ConnectTimeout"),
    }[client]


ALL = [http_client, urllib_request, xmlrpc_client, urllib3, requests, httpcore, httpx]
WITH_PROXIES = [urllib_request, urllib3, requests, httpcore, httpx]
