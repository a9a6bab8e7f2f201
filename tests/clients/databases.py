"""Clients of databases, caches and directories."""

import asyncio

from .client import Client, recipe
from .listener import HOST


def redis(at):
    import redis

    redis.Redis(HOST, at.port, socket_connect_timeout=5, socket_timeout=5, retry=None).ping()


def redis_connection(at, connector):
    import redis

    from safeconnect.integrations.redis import Connection

    pool = redis.ConnectionPool(host=HOST, port=at.port, connection_class=Connection, connector=connector, retry=None)
    redis.Redis(connection_pool=pool).ping()


def redis_asyncio(at):
    import redis.asyncio

    async def main():
        async with redis.asyncio.Redis(host=HOST, port=at.port, socket_timeout=5, retry=None) as client:
            await client.ping()

    asyncio.run(main())


def redis_asyncio_connection(at, connector):
    import redis.asyncio

    from safeconnect.integrations.redis_asyncio import Connection

    async def main():
        settings = {"connection_class": Connection, "connector": connector, "retry": None}
        pool = redis.asyncio.ConnectionPool(host=HOST, port=at.port, **settings)
        await redis.asyncio.Redis(connection_pool=pool).ping()

    asyncio.run(main())


def valkey(at):
    import valkey

    valkey.Valkey(HOST, at.port, socket_connect_timeout=5, socket_timeout=5).ping()


def pymysql(at):
    import pymysql

    pymysql.connect(host=HOST, port=at.port, connect_timeout=5)


def pymysql_connect(at, connector):
    from safeconnect.integrations.pymysql import connect

    connect(host=HOST, port=at.port, connect_timeout=5, connector=connector)


def aiomysql(at):
    import aiomysql

    async def main():
        await aiomysql.connect(host=HOST, port=at.port, connect_timeout=5)

    asyncio.run(main())


def mysql_connector(at):
    import mysql.connector

    mysql.connector.connect(host=HOST, port=at.port, connection_timeout=5, use_pure=True)


def pg8000(at):
    import pg8000.native

    pg8000.native.Connection("me", host=HOST, port=at.port, timeout=5)


def pg8000_socket(at, connector):
    import pg8000.native

    pg8000.native.Connection("me", sock=connector.connect((HOST, at.port), 5))


def psycopg(at):
    import psycopg

    psycopg.connect(host=HOST, port=at.port, user="me", connect_timeout=5, sslmode="disable", gssencmode="disable")


def psycopg2(at):
    import psycopg2

    psycopg2.connect(host=HOST, port=at.port, user="me", connect_timeout=5, sslmode="disable", gssencmode="disable")


def asyncpg(at):
    import asyncpg

    async def main():
        await asyncpg.connect(host=HOST, port=at.port, user="me", database="db", ssl=False, timeout=5)

    asyncio.run(main())


def pymongo(at):
    import pymongo

    with pymongo.MongoClient(HOST, at.port, serverSelectionTimeoutMS=30_000) as client:
        at.until_connected(client.admin.command, "ping")


def pymongo_asyncio(at):
    import pymongo

    async def main():
        await pymongo.AsyncMongoClient(HOST, at.port, serverSelectionTimeoutMS=30_000).admin.command("ping")

    at.until_connected(asyncio.run, main())


def motor(at):
    from motor.motor_asyncio import AsyncIOMotorClient

    async def main():
        await AsyncIOMotorClient(HOST, at.port, serverSelectionTimeoutMS=30_000).admin.command("ping")

    at.until_connected(asyncio.run, main())


def cassandra(at):
    from cassandra.cluster import Cluster

    at.until_connected(Cluster([HOST], port=at.port, protocol_version=4).connect)


def neo4j(at):
    import neo4j

    with neo4j.GraphDatabase.driver(f"bolt://{at.address}", connection_timeout=5) as driver:
        driver.verify_connectivity()


def clickhouse(at):
    from clickhouse_driver import Client

    Client(HOST, at.port, connect_timeout=5).execute("SELECT 1")


def pymemcache(at):
    from pymemcache.client.base import Client

    Client((HOST, at.port), connect_timeout=5, timeout=5).get("key")


def pymemcache_options(at, integrations):
    from pymemcache.client.base import Client

    module = recipe("sockets_for", socket_options=integrations.socket_options)(at.port)
    Client((HOST, at.port), connect_timeout=5, timeout=5, socket_module=module).get("key")


def python_memcached(at):
    import memcache

    memcache.Client([at.address]).get("key")


def aiomcache(at):
    import aiomcache

    asyncio.run(aiomcache.Client(HOST, at.port).get(b"key"))


def ldap3(at):
    import ldap3

    ldap3.Connection(ldap3.Server(HOST, at.port, get_info=ldap3.NONE, connect_timeout=5)).bind()


CLIENTS = (
    Client("redis-py", "redis", redis, redis_connection, instead="[`Connection`](#redis-py)"),
    Client(
        "redis-py, asyncio",
        "redis",
        redis_asyncio,
        redis_asyncio_connection,
        instead="[`Connection`](clients-async.md#redisasyncio)",
    ),
    Client("valkey-py", "valkey", valkey, instead="use redis-py"),
    Client("PyMySQL", "PyMySQL", pymysql, pymysql_connect, instead="[`connect`](#pymysql)"),
    Client("aiomysql", "aiomysql", aiomysql),
    Client("mysql-connector-python", "mysql-connector-python", mysql_connector, instead="use PyMySQL"),
    Client("pg8000", "pg8000", pg8000, socket=pg8000_socket, instead="[`sock=`](#clients-that-take-a-socket)"),
    Client("psycopg", "psycopg", psycopg, instead="compiled: use pg8000 or asyncpg"),
    Client("psycopg2", "psycopg2-binary", psycopg2, instead="compiled: use pg8000 or asyncpg"),
    Client("asyncpg", "asyncpg", asyncpg),
    Client("pymongo", "pymongo", pymongo),
    Client("pymongo, asyncio", "pymongo", pymongo_asyncio),
    Client("motor", "motor", motor),
    Client("cassandra-driver", "cassandra-driver", cassandra),
    Client("neo4j", "neo4j", neo4j),
    Client("clickhouse-driver", "clickhouse-driver", clickhouse),
    Client(
        "pymemcache",
        "pymemcache",
        pymemcache,
        options=pymemcache_options,
        instead="[`socket_module=`](#clients-that-take-socket-options)",
    ),
    Client("python-memcached", "python-memcached", python_memcached, instead="use pymemcache"),
    Client("aiomcache", "aiomcache", aiomcache),
    Client("ldap3", "ldap3", ldap3),
)
