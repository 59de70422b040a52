// What the scenarios of MQTT.js share. What the lines mean: see common.py.
import { readFileSync } from 'node:fs'
import mqtt from 'mqtt'

export const BROKER = JSON.parse(readFileSync(process.env.GATEMQ_INTEROP, 'utf8'))
const PROTOCOLS = {
  '3.1': { protocolId: 'MQIsdp', protocolVersion: 3 },
  '3.1.1': { protocolVersion: 4 },
  5: { protocolVersion: 5 }
}
const ALL = Object.keys(PROTOCOLS)
export const PATIENCE_MS = 30_000

/// What a PUBLISH or a will of MQTT 5 may carry.
export const PROPERTIES = {
  payloadFormatIndicator: true,
  messageExpiryInterval: 60,
  contentType: 'text/plain',
  responseTopic: 'answer/to',
  correlationData: Buffer.from(Array.from({ length: 256 }, (_, n) => n)),
  userProperties: { a: '1', b: ['2', 'again'] }
}

const SCENARIOS = []
let failed = 0

/// Adds a function to the tour of these versions; with `certificate` only where the listener demands one.
export function scenario (name, run, { versions = ALL, certificate = false } = {}) {
  SCENARIOS.push({ name, run, versions, certificate })
}

/// One scenario in one version over one transport.
class Visit {
  constructor (version, transport) {
    this.version = version
    this.transport = transport
    this.v5 = version === '5'
    // Short: MQTT 3.1 has 23 characters for it, of which scenarios want six.
    this.name = `mqtt${version}${transport}`
    this.topic = `interop/mqttjs/${version}/${transport}`
    this.clients = []
  }

  get certificate () {
    return this.transport.endsWith('-cert')
  }

  async scenario ({ name, run }) {
    try {
      await within(run(this), name)
      this.say('ok', name)
    } catch (error) {
      failed += 1
      this.say('FAILED', `${name}: ${String(error?.stack ?? error).replace(/\s+/g, ' ').slice(0, 600)}`)
    }
    await Promise.all(this.clients.splice(0).map(client => client.endAsync(true).catch(() => {})))
  }

  say (how, what) {
    process.stdout.write(`${how} mqttjs ${this.version} ${this.transport} ${what}\n`)
  }

  options (clientId, { withoutCertificate, ...more }) {
    const options = { ...PROTOCOLS[this.version], clientId, reconnectPeriod: 0, connectTimeout: PATIENCE_MS, ...more }
    if (/^(mqtts|wss)/.test(this.transport)) {
      options.ca = readFileSync(BROKER.ca)
      if (this.certificate && !withoutCertificate) {
        options.cert = readFileSync(BROKER.certificate)
        options.key = readFileSync(BROKER.key)
      }
    }
    return options
  }

  /// A client whose id ends with `-what`.
  connect (what, more = {}) {
    return this.connectAs(`${this.name}-${what}`, more)
  }

  /// A client that was admitted; its `inbox` gives its messages one after another, `packets` has all that it received and
  /// sent. `auth` answers AUTH. The error of one that was refused has its CONNACK.
  async connectAs (clientId, { auth, ...more } = {}) {
    const scheme = this.transport.replace('-cert', '')
    const path = scheme.startsWith('ws') ? BROKER.path : ''
    const url = `${scheme}://${BROKER.host}:${BROKER.ports[this.transport]}${path}`
    const client = mqtt.connect(url, this.options(clientId, more))
    this.clients.push(client)
    // Before anything comes: what waited for it comes with the CONNACK.
    client.inbox = inbox(client)
    client.packets = []
    client.on('packetreceive', packet => client.packets.push({ from: 'broker', ...packet }))
    client.on('packetsend', packet => client.packets.push({ from: 'client', ...packet }))
    client.on('error', () => {})
    if (auth) client.handleAuth = auth
    client.connack = await new Promise((resolve, reject) => {
      const refuse = error => reject(Object.assign(error, { connack: client.packets.find(({ cmd }) => cmd === 'connack') }))
      client.once('connect', resolve)
      client.once('error', refuse)
      client.once('close', () => refuse(new Error('closed before CONNACK')))
    })
    client.payloads = async count => {
      const got = []
      while (got.length < count) got.push(String((await client.inbox()).payload))
      return got
    }
    return client
  }
}

/// Messages in their order, each waited for.
function inbox (client) {
  const ready = []
  const waiting = []
  client.on('message', (topic, payload, packet) => {
    const message = { topic, payload, packet, properties: packet.properties ?? {} }
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

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

/// Until one of the packets that it received (or sends) from now on is like this.
export function packet (client, wanted, from = 'receive') {
  return new Promise(resolve => {
    const look = one => {
      if (!Object.entries(wanted).every(([key, value]) => one[key] === value)) return
      client.off(`packet${from}`, look)
      resolve(one)
    }
    client.on(`packet${from}`, look)
  })
}

export function equal (got, want, what) {
  const [a, b] = [got, want].map(value => JSON.stringify(value))
  if (a !== b) throw new Error(`${what} is ${a?.slice(0, 200)}, not ${b?.slice(0, 200)}`)
}

export function check (holds, what) {
  if (!holds) throw new Error(what)
}

export async function failure (promise, what) {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error(`${what}: no error`)
}

/// Runs the whole tour, all cells at the same time, and ends the process.
export async function tour (transports) {
  const visit = async (version, transport) => {
    for (const one of SCENARIOS) {
      const visit = new Visit(version, transport)
      if (one.versions.includes(version) && (visit.certificate || !one.certificate)) await visit.scenario(one)
    }
  }
  await Promise.all(ALL.flatMap(version => transports.map(transport => visit(version, transport))))
  process.exit(failed ? 1 : 0)
}
