// MQTT.js: what all versions have, and the tour.
import { once } from 'node:events'
import { BROKER, check, equal, failure, packet, scenario, tour } from './mqttjs_cell.mjs'
import './mqttjs_5.mjs'

const TRANSPORTS = ['mqtt', 'mqtts', 'mqtts-cert', 'ws', 'wss', 'wss-cert']
const NOT_AUTHORIZED = 0x87
const LARGE = Buffer.alloc(500_000, 'The quick brown fox. ')
const COUNT = 20
const NUMBERS = Array.from({ length: COUNT }, (_, n) => `${n}`)

scenario('clean exit', async cell => {
  const client = await cell.connectAs(cell.name)
  await client.endAsync()
  equal(client.connected, false, 'connected')
})

scenario('password', async cell => {
  const client = await cell.connect('user', { username: BROKER.user, password: BROKER.password })
  await client.publishAsync(`${cell.topic}/x`, 'x', { qos: 1 })
})

scenario('wrong password', async cell => {
  const error = await failure(cell.connect('user', { username: BROKER.user, password: 'wrong' }), 'a wrong password')
  equal(error.code, cell.v5 ? 0x86 : 4, 'the code of CONNACK')
})

scenario('empty client id', async cell => {
  const topic = `${cell.topic}/nameless`
  const [one, two] = [await cell.connectAs(''), await cell.connectAs('')]
  for (const client of [one, two]) await client.subscribeAsync(topic, { qos: 1 })
  await one.publishAsync(topic, 'x', { qos: 1 })
  for (const client of [one, two]) equal(await client.payloads(1), ['x'], 'what arrived')
}, { versions: ['3.1.1'] })

for (const qos of [0, 1, 2]) {
  scenario(`QoS ${qos}`, async cell => {
    const topic = `${cell.topic}/qos${qos}`
    const [subscriber, publisher] = [await cell.connect('sub'), await cell.connect('pub')]
    const granted = await subscriber.subscribeAsync([topic, `${topic}/end`], { qos })
    equal(granted.map(({ qos }) => qos), [qos, qos], 'granted QoS')
    for (const n of NUMBERS) await publisher.publishAsync(topic, n, { qos })
    await publisher.publishAsync(`${topic}/end`, 'end', { qos })
    for (const n of [...NUMBERS, 'end']) {
      const { payload, packet } = await subscriber.inbox()
      equal([String(payload), packet.qos, packet.retain, packet.dup], [n, qos, false, false], 'message')
    }
  })
}

scenario('large payload', async cell => {
  const client = await cell.connect('both')
  await client.subscribeAsync(`${cell.topic}/large`, { qos: 2 })
  await client.publishAsync(`${cell.topic}/large`, LARGE, { qos: 2 })
  check(LARGE.equals((await client.inbox()).payload), 'whether the payload is the same')
})

scenario('empty payload', async cell => {
  const client = await cell.connect('both')
  await client.subscribeAsync(`${cell.topic}/empty`, { qos: 1 })
  await client.publishAsync(`${cell.topic}/empty`, '', { qos: 1 })
  equal(await client.payloads(1), [''], 'the payload')
})

scenario('odd topic names', async cell => {
  const client = await cell.connect('both')
  await client.subscribeAsync(`/${cell.topic}/#`, { qos: 1 })
  for (const topic of [`/${cell.topic}//ü/`, `/${cell.topic}/$not-first`, `/${cell.topic}/ `]) {
    await client.publishAsync(topic, 'x', { qos: 1 })
    equal((await client.inbox()).topic, topic, 'topic')
  }
})

scenario('wildcards', async cell => {
  const topic = `${cell.topic}/wild`
  const client = await cell.connect('both')
  await client.subscribeAsync([`${topic}/+/b`, `${topic}/x/#`], { qos: 1 })
  for (const level of ['a/b', 'a/c', '/b', 'x', 'x/y/z', 'end/b']) {
    await client.publishAsync(`${topic}/${level}`, level, { qos: 1 })
  }
  equal(await client.payloads(5), ['a/b', '/b', 'x', 'x/y/z', 'end/b'], 'what matched')
})

scenario('overlapping subscriptions', async cell => {
  const topic = `${cell.topic}/overlap`
  const client = await cell.connect('both')
  await client.subscribeAsync({ [`${topic}/a/#`]: { qos: 0 }, [`${topic}/a/+`]: { qos: 1 }, [`${topic}/end`]: { qos: 1 } })
  await client.publishAsync(`${topic}/a/x`, 'twice', { qos: 1 })
  await client.publishAsync(`${topic}/end`, 'end', { qos: 1 })
  const got = []
  for (let n = 0; n < 3; n++) {
    const { payload, packet } = await client.inbox()
    got.push(`${payload} at ${packet.qos}`)
  }
  equal(got.sort(), ['end at 1', 'twice at 0', 'twice at 1'], 'a copy for each that matches')
})

scenario('several filters in one SUBSCRIBE', async cell => {
  const topic = `${cell.topic}/several`
  const client = await cell.connect('both')
  const granted = await client.subscribeAsync({ [`${topic}/2`]: { qos: 2 }, [`${topic}/0`]: { qos: 0 }, [`${topic}/1`]: { qos: 1 } })
  equal(granted.map(({ qos }) => qos), [2, 0, 1], 'granted QoS')
  for (const qos of [0, 1, 2]) {
    await client.publishAsync(`${topic}/${qos}`, 'x', { qos: 2 })
    equal((await client.inbox()).packet.qos, qos, 'QoS of what arrived')
  }
})

scenario('unsubscribe', async cell => {
  const topic = `${cell.topic}/unsubscribe`
  const client = await cell.connect('both')
  await client.subscribeAsync([topic, `${topic}/end`], { qos: 1 })
  await client.unsubscribeAsync(topic)
  for (const [at, payload] of [[topic, 'gone'], [`${topic}/end`, 'end']]) await client.publishAsync(at, payload, { qos: 1 })
  equal(await client.payloads(1), ['end'], 'the next message')
})

scenario('denied subscription', async cell => {
  const topic = `${cell.topic}/granted`
  const client = await cell.connect('deny')
  const answer = packet(client, { cmd: 'suback' })
  client.subscribe(['secret/x', topic], { qos: 1 }, () => {})
  // MQTT 3.1 has no words for a refusal: the SUBACK grants, and nothing comes.
  const refused = { '3.1': 1, '3.1.1': 0x80, 5: NOT_AUTHORIZED }[cell.version]
  equal((await answer).granted, [refused, 1], 'codes of SUBACK')
  await client.publishAsync(topic, 'granted', { qos: 1 })
  equal(await client.payloads(1), ['granted'], 'what arrived')
})

scenario('denied publish', async cell => {
  const client = await cell.connect('deny')
  await client.publishAsync(`${cell.topic}/x`, 'allowed twin', { qos: 1 })
  if (cell.v5) {
    for (const qos of [1, 2]) {
      const error = await failure(client.publishAsync('secret/x', 'x', { qos }), `denied at QoS ${qos}`)
      equal(error.code, NOT_AUTHORIZED, 'reason code')
    }
    await client.publishAsync(`${cell.topic}/x`, 'still here', { qos: 1 })
  } else {
    // MQTT 3 has no words for it but the end of the connection (MQTT-3.3.5-2).
    const closed = once(client, 'close')
    client.publish('secret/x', 'x', { qos: 1 }, () => {})
    await closed
    check(!client.packets.slice(-1).some(({ cmd }) => cmd === 'puback'), 'no PUBACK')
  }
})

scenario('retained', async cell => {
  const topic = `${cell.topic}/retained`
  const [publisher, subscriber] = [await cell.connect('pub'), await cell.connect('sub')]
  await publisher.publishAsync(topic, 'first', { qos: 1, retain: true })
  await publisher.publishAsync(topic, 'second', { qos: 2, retain: true })
  await subscriber.subscribeAsync(topic, { qos: 1 })
  const told = async () => {
    const { payload, packet } = await subscriber.inbox()
    return [String(payload), packet.qos, packet.retain]
  }
  equal(await told(), ['second', 1, true], 'what was retained')
  await publisher.publishAsync(topic, 'third', { qos: 1, retain: true })
  equal(await told(), ['third', 1, false], 'what is new')
})

scenario('retained message cleared', async cell => {
  const topic = `${cell.topic}/cleared`
  const client = await cell.connect('both')
  for (const payload of ['first', '']) await client.publishAsync(topic, payload, { qos: 1, retain: true })
  await client.subscribeAsync(topic, { qos: 1 })
  await client.publishAsync(topic, 'live', { qos: 1 })
  equal(await client.payloads(1), ['live'], 'the first message after it was cleared')
})

/// A client whose connection breaks.
async function dies (cell, what, more) {
  (await cell.connect(what, more)).stream.destroy()
}

scenario('will', async cell => {
  const topic = `${cell.topic}/will`
  const watch = await cell.connect('watch')
  await watch.subscribeAsync(topic, { qos: 2 })
  for (const qos of [0, 1, 2]) await dies(cell, `will${qos}`, { will: { topic, payload: `${qos}`, qos, retain: false } })
  const got = []
  for (let n = 0; n < 3; n++) {
    const { payload, packet } = await watch.inbox()
    got.push(`${payload} at ${packet.qos}`)
  }
  equal(got.sort(), ['0 at 0', '1 at 1', '2 at 2'], 'the wills')
})

scenario('retained will', async cell => {
  const topic = `${cell.topic}/retained-will`
  const watch = await cell.connect('watch')
  await watch.subscribeAsync(topic, { qos: 1 })
  await dies(cell, 'rwill', { will: { topic, payload: 'kept', qos: 1, retain: true } })
  equal(await watch.payloads(1), ['kept'], 'the will')
  const late = await cell.connect('late')
  await late.subscribeAsync(topic, { qos: 1 })
  const { payload, packet } = await late.inbox()
  equal([String(payload), packet.retain], ['kept', true], 'what is retained')
  await watch.publishAsync(topic, '', { qos: 1, retain: true })
})

scenario('no will after DISCONNECT', async cell => {
  const topic = `${cell.topic}/no-will`
  const watch = await cell.connect('watch')
  await watch.subscribeAsync(topic, { qos: 1 })
  const polite = await cell.connect('bye', { will: { topic, payload: 'polite', qos: 1, retain: false } })
  await polite.endAsync()
  await dies(cell, 'cut', { will: { topic, payload: 'broken', qos: 1, retain: false } })
  equal(await watch.payloads(1), ['broken'], 'the first will')
})

function stays (cell) {
  return cell.v5 ? { clean: false, properties: { sessionExpiryInterval: 1000 } } : { clean: false }
}

for (const qos of [1, 2]) {
  scenario(`session kept, QoS ${qos} queued`, async cell => {
    const [topic, name] = [`${cell.topic}/kept${qos}`, `kept${qos}`]
    const publisher = await cell.connect('pub')
    const before = await cell.connect(name, stays(cell))
    equal(before.connack.sessionPresent, false, 'Session Present at first')
    await before.subscribeAsync(topic, { qos: 2 })
    // With QoS 1 it says goodbye, with QoS 2 the connection breaks.
    qos === 1 ? await before.endAsync() : before.stream.destroy()
    for (const n of NUMBERS) await publisher.publishAsync(topic, n, { qos })
    const client = await cell.connect(name, stays(cell))
    // MQTT 3.1 has no bit for it.
    if (cell.version !== '3.1') equal(client.connack.sessionPresent, true, 'Session Present')
    await publisher.publishAsync(topic, 'end', { qos })
    for (const n of [...NUMBERS, 'end']) {
      const { payload, packet } = await client.inbox()
      equal([String(payload), packet.qos], [n, qos], 'what had waited')
    }
    await client.endAsync()
    await cell.connect(name)
  })
}

scenario('redelivery with DUP', async cell => {
  const topic = `${cell.topic}/again`
  const publisher = await cell.connect('pub')
  const before = await cell.connect('again', stays(cell))
  before.handleMessage = () => {} // It does not acknowledge.
  await before.subscribeAsync(topic, { qos: 1 })
  await publisher.publishAsync(topic, 'x', { qos: 1 })
  equal((await before.inbox()).packet.dup, false, 'DUP at first')
  before.stream.destroy()
  const client = await cell.connect('again', stays(cell))
  await publisher.publishAsync(topic, 'end', { qos: 1 })
  for (const [wanted, dup] of [['x', true], ['end', false]]) {
    const { payload, packet } = await client.inbox()
    equal([String(payload), packet.dup], [wanted, dup], 'what came again')
  }
  await client.endAsync()
  await cell.connect('again')
})

scenario('clean session', async cell => {
  const topic = `${cell.topic}/clean`
  const publisher = await cell.connect('pub')
  const before = await cell.connect('clean', stays(cell))
  await before.subscribeAsync(topic, { qos: 1 })
  await before.endAsync()
  await publisher.publishAsync(topic, 'waited', { qos: 1 })
  const client = await cell.connect('clean')
  equal(client.connack.sessionPresent, false, 'Session Present after a clean start')
  await publisher.publishAsync(topic, 'not subscribed', { qos: 1 })
  await client.subscribeAsync(`${topic}/end`, { qos: 1 })
  await publisher.publishAsync(`${topic}/end`, 'end', { qos: 1 })
  equal(await client.payloads(1), ['end'], 'what came')
})

scenario('shared subscription', async cell => {
  const topic = `${cell.topic}/shared`
  const [one, two, publisher] = [await cell.connect('one'), await cell.connect('two'), await cell.connect('pub')]
  for (const member of [one, two]) await member.subscribeAsync([`$share/group/${topic}`, `${topic}/end`], { qos: 1 })
  const sent = [...NUMBERS, ...NUMBERS.map(n => `more ${n}`)]
  for (const n of sent) await publisher.publishAsync(topic, n, { qos: 1 })
  await publisher.publishAsync(`${topic}/end`, 'end', { qos: 1 })
  const shares = []
  for (const member of [one, two]) {
    const share = []
    for (let [next] = await member.payloads(1); next !== 'end'; [next] = await member.payloads(1)) share.push(next)
    shares.push(share)
  }
  equal(shares.flat().sort(), sent.sort(), 'what the group got')
  check(shares.every(share => share.length), `one of them got nothing: ${JSON.stringify(shares)}`)
})

scenario('$SYS', async cell => {
  const client = await cell.connect('sys')
  await client.subscribeAsync('$SYS/broker/version', { qos: 0 })
  const [version] = await client.payloads(1)
  check(version.startsWith('gatemq '), `a version in ${version}`)
})

scenario('takeover', async cell => {
  const first = await cell.connect('twin')
  const closed = once(first, 'close')
  const second = await cell.connect('twin')
  await closed
  await second.publishAsync(`${cell.topic}/x`, 'the second is here', { qos: 1 })
})

scenario('keep alive', async cell => {
  const topic = `${cell.topic}/idle`
  const idle = await cell.connect('idle', { keepalive: 2 })
  const began = Date.now()
  // Without its pings it would be closed after three seconds.
  for (let n = 0; n < 2; n++) await packet(idle, { cmd: 'pingresp' })
  check(Date.now() - began > 3000, 'whether it was idle for so long')
  await idle.subscribeAsync(topic, { qos: 1 })
  await idle.publishAsync(topic, 'still here', { qos: 1 })
  equal(await idle.payloads(1), ['still here'], 'what arrived')
})

scenario('without a certificate', async cell => {
  await failure(cell.connect('none', { withoutCertificate: true }), 'without a certificate')
}, { certificate: true })

await tour(TRANSPORTS)
