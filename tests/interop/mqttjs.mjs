// MQTT.js. What the lines mean: see common.py.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import mqtt from 'mqtt'

const BROKER = JSON.parse(readFileSync(process.env.GATEMQ_INTEROP, 'utf8'))
const VERSIONS = {
  '3.1': { protocolId: 'MQIsdp', protocolVersion: 3 },
  '3.1.1': { protocolVersion: 4 },
  5: { protocolVersion: 5 }
}
const TRANSPORTS = ['mqtt', 'mqtts', 'mqtts-cert', 'ws', 'wss', 'wss-cert']
const PATIENCE_MS = 20_000
const NOT_AUTHORIZED = 0x87
const LARGE = Buffer.alloc(500_000, 'The quick brown fox. ')

let failed = 0

class Cell {
  constructor (version, transport) {
    this.version = version
    this.transport = transport
    this.v5 = version === '5'
    // Short: MQTT 3.1 has 23 characters for it, of which scenarios want six.
    this.name = `mqtt${version}${transport}`
    this.topic = `interop/mqttjs/${version}/${transport}`
  }

  async scenario (name, run) {
    try {
      await within(run(), name)
      this.say('ok', name)
    } catch (error) {
      failed += 1
      this.say('FAILED', `${name}: ${String(error?.message ?? error).replace(/\s+/g, ' ').slice(0, 400)}`)
    }
  }

  say (how, what) {
    console.log(how, 'mqttjs', this.version, this.transport, what)
  }

  options (what, more) {
    const options = { ...VERSIONS[this.version], clientId: what, reconnectPeriod: 0, connectTimeout: PATIENCE_MS, ...more }
    if (/^(mqtts|wss)/.test(this.transport)) {
      options.ca = readFileSync(BROKER.ca)
      if (this.transport.endsWith('-cert') && !more?.withoutCertificate) {
        options.cert = readFileSync(BROKER.certificate)
        options.key = readFileSync(BROKER.key)
      }
    }
    return options
  }

  async connect (what, more) {
    const scheme = this.transport.replace('-cert', '')
    const path = scheme.startsWith('ws') ? BROKER.path : ''
    const url = `${scheme}://${BROKER.host}:${BROKER.ports[this.transport]}${path}`
    const client = mqtt.connect(url, this.options(what, more))
    // Before anything comes: what waited for it comes with the CONNACK.
    client.inbox = inbox(client)
    client.on('error', () => {})
    client.connack = await new Promise((resolve, reject) => {
      client.once('connect', resolve)
      client.once('error', reject)
      client.once('close', () => reject(new Error('closed before CONNACK')))
    })
    return client
  }
}

/// Messages in their order, each waited for.
function inbox (client) {
  const ready = []
  const waiting = []
  client.on('message', (topic, payload, packet) => {
    const message = { topic, payload, packet }
    waiting.length ? waiting.shift()(message) : ready.push(message)
  })
  return () => ready.length ? Promise.resolve(ready.shift()) : new Promise(resolve => waiting.push(resolve))
}

function within (promise, what) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${PATIENCE_MS} ms`)), PATIENCE_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

function equal (got, want, what) {
  const [a, b] = [got, want].map(value => JSON.stringify(value))
  if (a !== b) throw new Error(`${what} is ${a?.slice(0, 150)}, not ${b?.slice(0, 150)}`)
}

async function failure (promise, what) {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error(`${what}: no error`)
}

async function cleanExit (cell) {
  const client = await cell.connect(cell.name)
  await client.endAsync()
  equal(client.connected, false, 'connected')
}

async function roundTrip (cell, qos) {
  const topic = `${cell.topic}/qos${qos}`
  const [subscriber, publisher] = [await cell.connect(`${cell.name}-sub`), await cell.connect(`${cell.name}-pub`)]
  const [granted] = await subscriber.subscribeAsync(topic, { qos })
  equal(granted.qos, qos, 'granted QoS')
  for (let n = 0; n < 20; n++) await publisher.publishAsync(topic, `${n}`, { qos })
  for (let n = 0; n < 20; n++) {
    const { payload, packet } = await subscriber.inbox()
    equal([payload.toString(), packet.qos, packet.retain], [`${n}`, qos, false], 'message')
  }
  await Promise.all([subscriber.endAsync(), publisher.endAsync()])
}

async function wildcards (cell) {
  const client = await cell.connect(`${cell.name}-both`)
  await client.subscribeAsync([`${cell.topic}/+/b`, `${cell.topic}/x/#`], { qos: 1 })
  for (const level of ['a/b', 'a/c', '/b', 'x', 'x/y/z', 'end/b']) {
    await client.publishAsync(`${cell.topic}/${level}`, level, { qos: 1 })
  }
  for (const level of ['a/b', '/b', 'x', 'x/y/z', 'end/b']) {
    equal((await client.inbox()).payload.toString(), level, 'what matched')
  }
  await client.endAsync()
}

async function large (cell) {
  const client = await cell.connect(`${cell.name}-both`)
  await client.subscribeAsync(`${cell.topic}/large`, { qos: 2 })
  await client.publishAsync(`${cell.topic}/large`, LARGE, { qos: 2 })
  equal(LARGE.equals((await client.inbox()).payload), true, 'whether the payload is the same')
  await client.endAsync()
}

async function retained (cell) {
  const topic = `${cell.topic}/retained`
  const publisher = await cell.connect(`${cell.name}-pub`)
  const first = async what => {
    const client = await cell.connect(`${cell.name}-sub`)
    await client.subscribeAsync(topic, { qos: 1 })
    if (what === 'live') await publisher.publishAsync(topic, what, { qos: 1 })
    const { payload, packet } = await client.inbox()
    await client.endAsync()
    return [payload.toString(), packet.qos, packet.retain]
  }
  await publisher.publishAsync(topic, 'first', { qos: 1, retain: true })
  await publisher.publishAsync(topic, 'second', { qos: 2, retain: true })
  equal(await first('retained'), ['second', 1, true], 'what was retained')
  await publisher.publishAsync(topic, '', { qos: 1, retain: true })
  equal(await first('live'), ['live', 1, false], 'the first message after it was cleared')
  await publisher.endAsync()
}

/// Of a client that says goodbye, and of one whose connection breaks.
async function will (cell) {
  const topic = `${cell.topic}/will`
  const watch = await cell.connect(`${cell.name}-watch`)
  await watch.subscribeAsync(topic, { qos: 1 })
  const withWill = what => cell.connect(`${cell.name}-${what.slice(0, 4)}`, { will: { topic, payload: what, qos: 1, retain: false } })
  await (await withWill('polite')).endAsync()
  const broken = await withWill('broken')
  broken.stream.destroy()
  equal((await watch.inbox()).payload.toString(), 'broken', 'the first will')
  await Promise.all([watch.endAsync(), broken.endAsync(true)])
}

async function resume (cell) {
  const topic = `${cell.topic}/resume`
  const stays = cell.v5 ? { clean: false, properties: { sessionExpiryInterval: 1000 } } : { clean: false }
  const publisher = await cell.connect(`${cell.name}-pub`)
  // MQTT.js hands a message out when its QoS is done with, so that only equal ones keep their order.
  for (const [how, qos] of [['polite', 1], ['broken', 2]]) {
    const name = `${cell.name}-back${qos}`
    const before = await cell.connect(name, stays)
    equal(before.connack.sessionPresent, false, 'Session Present at first')
    await before.subscribeAsync(topic, { qos: 2 })
    if (how === 'broken') before.stream.destroy()
    await before.endAsync(how === 'broken')
    for (let n = 0; n < 10; n++) await publisher.publishAsync(topic, `${n}`, { qos })
    const client = await cell.connect(name, stays)
    if (cell.version !== '3.1') equal(client.connack.sessionPresent, true, 'Session Present')
    for (let n = 0; n < 10; n++) {
      const { payload, packet } = await client.inbox()
      equal([payload.toString(), packet.qos], [`${n}`, qos], 'what had waited')
    }
    await client.endAsync()
    const after = await cell.connect(name)
    equal(after.connack.sessionPresent, false, 'Session Present after a clean start')
    await after.endAsync()
  }
  await publisher.endAsync()
}

async function denied (cell) {
  const client = await cell.connect(`${cell.name}-deny`)
  await client.publishAsync(`${cell.topic}/x`, 'allowed twin', { qos: 1 })
  const refused = cell.v5 ? NOT_AUTHORIZED : 0x80
  if (cell.version === '3.1') {
    // It has no words for a refusal: the SUBACK grants, and nothing comes.
    const [granted] = await client.subscribeAsync('secret/x', { qos: 1 })
    equal(granted.qos, 1, 'granted QoS')
  } else {
    const error = await failure(client.subscribeAsync('secret/x', { qos: 1 }), 'denied SUBSCRIBE')
    equal(/Subscribe error/.test(error.message) || error.code === refused, true, `a refusal, in ${error.message}`)
  }
  if (cell.v5) {
    for (const qos of [1, 2]) {
      const error = await failure(client.publishAsync('secret/x', 'x', { qos }), `denied at QoS ${qos}`)
      equal(error.code, NOT_AUTHORIZED, 'reason code')
    }
    await client.publishAsync(`${cell.topic}/x`, 'still here', { qos: 1 })
    await client.endAsync()
  } else {
    // MQTT 3 has no words for it but the end of the connection (MQTT-3.3.5-2).
    const closed = once(client, 'close')
    client.publish('secret/x', 'x', { qos: 1 })
    await closed
    await client.endAsync(true)
  }
}

async function properties (cell) {
  const topic = `${cell.topic}/properties`
  const sent = {
    payloadFormatIndicator: true,
    messageExpiryInterval: 60,
    responseTopic: `${topic}/answer`,
    correlationData: Buffer.from([0, 1, 255]),
    userProperties: { a: '1', b: ['2', 'again'] },
    contentType: 'text/plain'
  }
  const client = await cell.connect(`${cell.name}-both`)
  await client.subscribeAsync(topic, { qos: 1 })
  await client.publishAsync(topic, 'with properties', { qos: 1, properties: sent })
  const got = (await client.inbox()).packet.properties
  const expiry = got.messageExpiryInterval
  equal(expiry > 0 && expiry <= 60, true, `whether ${expiry} s remain`)
  for (const name of ['payloadFormatIndicator', 'responseTopic', 'correlationData', 'userProperties', 'contentType']) {
    equal(got[name], sent[name], name)
  }
  await client.endAsync()
}

async function withoutCertificate (cell) {
  await failure(cell.connect(`${cell.name}-none`, { withoutCertificate: true }), 'without a certificate')
}

for (const version of Object.keys(VERSIONS).sort()) {
  for (const transport of TRANSPORTS) {
    const cell = new Cell(version, transport)
    await cell.scenario('clean exit', () => cleanExit(cell))
    for (const qos of [0, 1, 2]) await cell.scenario(`QoS ${qos} round trip`, () => roundTrip(cell, qos))
    await cell.scenario('wildcards', () => wildcards(cell))
    await cell.scenario('large payload', () => large(cell))
    await cell.scenario('retained', () => retained(cell))
    await cell.scenario('will', () => will(cell))
    await cell.scenario('resume', () => resume(cell))
    await cell.scenario('denied', () => denied(cell))
    if (transport.endsWith('-cert')) await cell.scenario('without a certificate', () => withoutCertificate(cell))
    if (cell.v5) await cell.scenario('properties pass', () => properties(cell))
  }
}
process.exit(failed ? 1 : 0)
