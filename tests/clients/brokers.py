"""Clients of message brokers and coordinators."""

import asyncio

from .client import Client
from .listener import HOST


def _kafka(at, **settings):
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=at.address, api_version=(2, 5), max_block_ms=30_000, **settings)
    at.until_connected(producer.partitions_for, "topic")


def kafka(at):
    _kafka(at)


def kafka_options(at, integrations):
    _kafka(at, socket_options=integrations.socket_options(at.port))


def aiokafka(at):
    from aiokafka import AIOKafkaProducer

    async def main():
        producer = AIOKafkaProducer(bootstrap_servers=at.address)
        try:
            await producer.start()
        finally:
            await producer.stop()

    asyncio.run(main())


def confluent_kafka(at):
    from confluent_kafka import Producer

    at.until_connected(Producer({"bootstrap.servers": at.address}).list_topics, timeout=30)


def pika(at):
    import pika

    pika.BlockingConnection(pika.ConnectionParameters(HOST, at.port, connection_attempts=1, socket_timeout=5))


def aio_pika(at):
    import aio_pika

    asyncio.run(aio_pika.connect(f"amqp://guest:guest@{at.address}/", timeout=5))


def amqp(at):
    import amqp

    amqp.Connection(at.address, connect_timeout=5).connect()


def kombu(at):
    import kombu

    at.until_connected(kombu.Connection(f"amqp://{at.address}//", connect_timeout=5).connect)


def celery(at):
    import celery

    app = celery.Celery(broker=f"amqp://{at.address}//")
    app.conf.broker_connection_timeout = 5
    at.until_connected(app.connection_for_write().connect)


def celery_redis(at):
    import celery

    app = celery.Celery(broker=f"redis://{at.address}/0")

    def ping():
        app.connection_for_write().default_channel.client.ping()

    at.until_connected(ping)


def stomp(at):
    import stomp

    stomp.Connection([(HOST, at.port)], reconnect_attempts_max=1, timeout=5).connect(wait=False)


def paho(at):
    import paho.mqtt.client

    paho.mqtt.client.Client(paho.mqtt.client.CallbackAPIVersion.VERSION2).connect(HOST, at.port)


def kazoo(at):
    from kazoo.client import KazooClient

    client = KazooClient(at.address)
    at.until_connected(client.start, timeout=30)


def nats(at):
    import nats

    async def main():
        await nats.connect(f"nats://{at.address}", allow_reconnect=False, connect_timeout=5)

    at.until_connected(asyncio.run, main())


def pyzmq(at):
    import zmq

    with zmq.Context() as context, context.socket(zmq.REQ) as sock:
        sock.linger = 0
        sock.connect(f"tcp://{at.address}")
        at.until_connected(lambda: None)


CLIENTS = (
    Client(
        "kafka-python",
        "kafka-python",
        kafka,
        options=kafka_options,
        instead="[`socket_options=`](#clients-that-take-socket-options)",
    ),
    Client("aiokafka", "aiokafka", aiokafka),
    Client("confluent-kafka", "confluent-kafka", confluent_kafka, instead="compiled: use aiokafka"),
    Client("pika", "pika", pika, instead="use aio-pika"),
    Client("aio-pika", "aio-pika", aio_pika),
    Client("amqp", "amqp", amqp),
    Client("kombu", "kombu", kombu),
    Client("celery, with RabbitMQ", "celery", celery),
    Client("celery, with Redis", "celery", celery_redis, needs=("redis",)),
    Client("stomp.py", "stomp.py", stomp),
    Client("paho-mqtt", "paho-mqtt", paho),
    Client("nats-py", "nats-py", nats),
    Client("kazoo (ZooKeeper)", "kazoo", kazoo),
    Client("pyzmq", "pyzmq", pyzmq, instead="compiled"),
)
