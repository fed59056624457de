import { describe, expect, test } from 'vitest'
import { setup } from 'xstate'
import type { Actor, ActorHost, HostOptions, StateValue } from '../../src/actor/actor-host.ts'
import type { Clock } from '../../src/actor/clock.ts'
import type { BehaviourOf } from '../../src/actor/interpreted-host.ts'
import { createCountingClock } from '../support/chart-clock.ts'

type ProbeEvent =
  | { type: 'go'; by?: string }
  | { type: 'note'; text: string }
  | { type: 'chain' | 'pass' | 'boom' | 'work' | 'rest' | 'left' | 'restart' | 'again' | 'finish' }

/** A chart with everything that the charts in `machines/` use, under the same rules. */
const probeMachine = setup({
  types: { events: {} as ProbeEvent },
  guards: { mayGo: () => false, mayRepeat: () => false },
  actions: {
    say: (_, _params: { text: string }) => {},
    sayText: () => {},
    sendChain: () => {},
    passOn: () => {},
    fail: () => {},
  },
  delays: { soon: 0, late: 0 },
}).createMachine({
  id: 'probe',
  description: 'A chart for the contract of actor hosts.',
  initial: 'idle',
  on: { finish: { target: '.done' } },
  states: {
    idle: {
      description: 'Waiting; repeats by timer while it may.',
      entry: [{ type: 'say', params: { text: 'enter idle' } }, 'passOn'],
      exit: { type: 'say', params: { text: 'exit idle' } },
      on: {
        go: [{ guard: 'mayGo', target: 'busy', actions: { type: 'say', params: { text: 'go' } } }],
        note: { actions: 'sayText' },
        chain: { target: 'busy', actions: ['sendChain', { type: 'say', params: { text: 'chain' } }] },
        pass: { actions: ['passOn', { type: 'say', params: { text: 'passed' } }] },
        boom: { target: 'busy', actions: ['sendChain', 'fail'] },
        work: { target: 'busy' },
      },
      after: {
        soon: [
          { guard: 'mayRepeat', target: 'idle', reenter: true },
          { target: 'busy', actions: 'fail' },
        ],
      },
    },
    busy: {
      description: 'Two regions with timers of their own.',
      type: 'parallel',
      entry: { type: 'say', params: { text: 'enter busy' } },
      on: {
        note: { actions: 'sayText' },
        rest: { target: 'idle' },
        restart: { target: 'busy', reenter: true },
      },
      states: {
        left: {
          description: 'Ends by timer or by event.',
          initial: 'on',
          states: {
            on: {
              description: 'Until its time is over.',
              on: { left: { target: 'off' } },
              after: { soon: { target: 'off', actions: 'sendChain' } },
            },
            off: { description: 'Over.', on: { again: { target: 'on' } } },
          },
        },
        right: {
          description: 'Ends by timer alone.',
          initial: 'on',
          states: {
            on: { description: 'Until its time is over.', after: { late: { target: 'off' } } },
            off: { description: 'Over.' },
          },
        },
      },
    },
    done: {
      description: 'Over for good.',
      type: 'final',
      entry: { type: 'say', params: { text: 'done' } },
    },
  },
})

/** What the probe's guards, actions and delays look at. */
interface Subject {
  readonly name: string
  readonly said: string[]
  mayGo: boolean
  mayRepeat: boolean
  soonMs: number
  lateMs: number
  /** Where it is to throw. */
  throwIn: string | undefined
  /** Given to itself by `sendChain`. */
  chain: ProbeEvent[]
  /** Run by `passOn`. */
  pass: (() => void) | undefined
  actor: Actor<ProbeEvent> | undefined
}

type CreateHost = (
  machine: typeof probeMachine,
  behaviour: BehaviourOf<typeof probeMachine, Subject, ProbeEvent>,
  clock: Clock,
  options: HostOptions<Subject, ProbeEvent>,
) => ActorHost<Subject, ProbeEvent>

const SOON_MS = 100
const LATE_MS = 1_000
const TYPES = ['go', 'note', 'chain', 'pass', 'boom', 'work', 'rest', 'left', 'restart', 'again', 'finish'] as const
const BUSY: StateValue = { busy: { left: 'on', right: 'on' } }

/** What every host of actors keeps, whatever runs its charts. */
export function actorHostContract(name: string, createHost: CreateHost): void {
  function start() {
    const clock = createCountingClock()
    const errors: { name: string; error: unknown }[] = []
    const transitions: { name: string; type: string; value: StateValue }[] = []
    const fault = (subject: Subject, where: string): void => {
      if (subject.throwIn === where) throw new Error(`${subject.name} throws in ${where}`)
    }
    const host = createHost(
      probeMachine,
      {
        guards: {
          mayGo(subject, event) {
            fault(subject, 'mayGo')
            return subject.mayGo || (event.type === 'go' && event.by === subject.name)
          },
          mayRepeat(subject) {
            fault(subject, 'mayRepeat')
            return subject.mayRepeat
          },
        },
        actions: {
          say(subject, _event, { text }) {
            subject.said.push(text)
            fault(subject, text)
          },
          sayText(subject, event) {
            if (event.type === 'note') subject.said.push(event.text)
          },
          sendChain(subject) {
            for (const event of subject.chain) subject.said.push(`sent: ${subject.actor?.send(event)}`)
          },
          passOn: (subject) => subject.pass?.(),
          fail: (subject) => fault(subject, 'fail'),
        },
        delays: {
          soon(subject) {
            fault(subject, 'soon')
            return subject.soonMs
          },
          late(subject) {
            fault(subject, 'late')
            return subject.lateMs
          },
        },
      },
      clock,
      {
        onError: (subject, error) => errors.push({ name: subject.name, error }),
        onTransition: (subject, event, value) => transitions.push({ name: subject.name, type: event.type, value }),
      },
    )
    function create(name = 'a', settings: Partial<Subject> = {}): { subject: Subject; actor: Actor<ProbeEvent> } {
      const subject: Subject = {
        name,
        said: [],
        mayGo: false,
        mayRepeat: false,
        soonMs: SOON_MS,
        lateMs: LATE_MS,
        throwIn: undefined,
        chain: [],
        pass: undefined,
        actor: undefined,
        ...settings,
      }
      const actor = host.create(subject)
      subject.actor = actor
      return { subject, actor }
    }
    return { clock, errors, transitions, create }
  }

  describe(`${name}: the contract of actor hosts`, () => {
    test('create runs the entry actions, and arms the timers, before it returns', () => {
      const { clock, create } = start()
      const { subject, actor } = create()
      expect(subject.said).toEqual(['enter idle'])
      expect(actor.value()).toBe('idle')
      expect(clock.pending).toBe(1)
    })

    test('send answers whether the chart has a transition now, and what it does not take changes nothing', () => {
      const { transitions, create } = start()
      const { subject, actor } = create()
      expect(actor.send({ type: 'note', text: 'hello' })).toBe(true)
      expect(actor.send({ type: 'left' })).toBe(false)
      expect(actor.send({ type: 'go' })).toBe(false)
      expect(actor.value()).toBe('idle')
      expect(subject.said).toEqual(['enter idle', 'hello'])
      expect(transitions.map(({ type }) => type)).toEqual(['xstate.init', 'note'])
      subject.mayGo = true
      expect(actor.send({ type: 'go' })).toBe(true)
      expect(actor.value()).toEqual(BUSY)
      expect(subject.said.slice(2)).toEqual(['exit idle', 'go', 'enter busy'])
    })

    test('guards see the event', () => {
      const { create } = start()
      const { actor } = create()
      expect(actor.send({ type: 'go', by: 'b' })).toBe(false)
      expect(actor.send({ type: 'go', by: 'a' })).toBe(true)
    })

    test('events sent from within an action come in order after the one in hand, judged by the state that it led to', () => {
      const { transitions, create } = start()
      const { subject, actor } = create('a', {
        chain: [{ type: 'note', text: 'first' }, { type: 'go' }, { type: 'left' }, { type: 'note', text: 'last' }],
      })
      expect(actor.send({ type: 'chain' })).toBe(true)
      expect(subject.said).toEqual([
        'enter idle',
        'exit idle',
        ...Array.from({ length: 4 }, () => 'sent: true'),
        'chain',
        'enter busy',
        'first',
        'last',
      ])
      expect(actor.value()).toEqual({ busy: { left: 'off', right: 'on' } })
      expect(transitions.map(({ type }) => type)).toEqual(['xstate.init', 'chain', 'note', 'left', 'note'])
    })

    test('matches goes by the path of a state', () => {
      const { create } = start()
      const { actor } = create()
      expect(actor.matches('idle')).toBe(true)
      expect(actor.matches('busy')).toBe(false)
      actor.send({ type: 'work' })
      actor.send({ type: 'left' })
      const paths = ['idle', 'busy', 'busy.left', 'busy.left.on', 'busy.left.off', 'busy.right.on', 'busy.right.off']
      expect(paths.filter((path) => actor.matches(path))).toEqual([
        'busy',
        'busy.left',
        'busy.left.off',
        'busy.right.on',
      ])
    })

    test('legal lists the types with a transition now, guards asked, and does nothing', () => {
      const { transitions, create } = start()
      const { subject, actor } = create()
      expect(actor.legal(TYPES)).toEqual(['note', 'chain', 'pass', 'boom', 'work', 'finish'])
      subject.mayGo = true
      expect(actor.legal(['go', 'left'])).toEqual(['go'])
      actor.send({ type: 'work' })
      const before = [...subject.said]
      expect(actor.legal(TYPES)).toEqual(['note', 'rest', 'left', 'restart', 'finish'])
      expect(subject.said).toEqual(before)
      expect(transitions).toHaveLength(2)
    })

    test('actors are told apart: guards, actions and delays get their own subject', () => {
      const { clock, create } = start()
      const a = create('a', { soonMs: 100 })
      const b = create('b', { soonMs: 200, mayGo: true })
      expect([a.actor.send({ type: 'go' }), b.actor.send({ type: 'go' })]).toEqual([false, true])
      clock.advance(100)
      expect([a.actor.value(), b.actor.value()]).toEqual([BUSY, BUSY])
      clock.advance(100)
      expect([a.actor.matches('busy.left.off'), b.actor.matches('busy.left.off')]).toEqual([true, true])
      expect(a.subject.said).toEqual(['enter idle', 'exit idle', 'enter busy'])
      expect(b.subject.said).toEqual(['enter idle', 'exit idle', 'go', 'enter busy'])
    })

    test('an action may send to another actor, create one and ask one, and each keeps its own subject', () => {
      const { clock, create } = start()
      const b = create('b', { mayGo: true, soonMs: 50 })
      let made: ReturnType<typeof create> | undefined
      const a = create('a')
      a.subject.pass = () => {
        expect(b.actor.legal(['go', 'left'])).toEqual(['go'])
        expect(b.actor.send({ type: 'go' })).toBe(true)
        expect(b.actor.value()).toEqual(BUSY)
        made = create('c', { soonMs: 70, mayRepeat: true })
      }
      expect(a.actor.send({ type: 'pass' })).toBe(true)
      expect(a.subject.said).toEqual(['enter idle', 'passed'])
      expect(b.subject.said).toEqual(['enter idle', 'exit idle', 'go', 'enter busy'])
      expect(made?.subject.said).toEqual(['enter idle'])
      clock.advance(50)
      expect(b.actor.value()).toEqual({ busy: { left: 'off', right: 'on' } })
      clock.advance(20)
      expect(made?.subject.said).toEqual(['enter idle', 'exit idle', 'enter idle'])
      expect(a.actor.value()).toBe('idle')
    })

    test('what another actor sends back comes after the event in hand', () => {
      const { create } = start()
      const a = create('a')
      const b = create('b')
      b.subject.pass = () => expect(a.actor.send({ type: 'note', text: 'back' })).toBe(true)
      a.subject.pass = () => expect(b.actor.send({ type: 'pass' })).toBe(true)
      a.actor.send({ type: 'pass' })
      expect(b.subject.said).toEqual(['enter idle', 'passed'])
      expect(a.subject.said).toEqual(['enter idle', 'passed', 'back'])
    })

    test('a timer fires once, when its delay has passed since its state was entered', () => {
      const { clock, create, transitions } = start()
      const { actor } = create('a', { mayRepeat: true })
      clock.advance(SOON_MS - 10)
      expect(transitions).toHaveLength(1)
      clock.advance(10)
      expect(transitions.map(({ type }) => type)).toEqual(['xstate.init', 'xstate.after.soon.probe.idle'])
      actor.send({ type: 'work' })
      expect(clock.pending).toBe(2)
      clock.advance(SOON_MS)
      expect(actor.value()).toEqual({ busy: { left: 'off', right: 'on' } })
      clock.advance(LATE_MS - SOON_MS - 10)
      expect(actor.matches('busy.right.on')).toBe(true)
      clock.advance(10)
      expect(actor.value()).toEqual({ busy: { left: 'off', right: 'off' } })
      expect(clock.pending).toBe(0)
    })

    test('leaving a state ends its timers, entering it again begins them anew, other regions keep theirs', () => {
      const { clock, create } = start()
      const { actor } = create()
      actor.send({ type: 'work' })
      clock.advance(SOON_MS - 10)
      actor.send({ type: 'left' })
      expect(clock.pending).toBe(1)
      actor.send({ type: 'again' })
      clock.advance(SOON_MS - 10)
      expect(actor.value()).toEqual(BUSY)
      clock.advance(10)
      expect(actor.value()).toEqual({ busy: { left: 'off', right: 'on' } })
      actor.send({ type: 'restart' })
      expect(actor.value()).toEqual(BUSY)
      clock.advance(LATE_MS - 10)
      expect(actor.matches('busy.right.on')).toBe(true)
      clock.advance(10)
      expect(actor.matches('busy.right.off')).toBe(true)
    })

    test("events sent from within a timer's action are taken after it", () => {
      const { clock, create } = start()
      const { subject, actor } = create()
      actor.send({ type: 'work' })
      subject.chain = [{ type: 'again' }, { type: 'note', text: 'after' }]
      clock.advance(SOON_MS)
      expect(actor.value()).toEqual(BUSY)
      expect(subject.said.slice(-3)).toEqual(['sent: true', 'sent: true', 'after'])
    })

    test('after a final state nothing is taken, nothing is legal, and no timer is left', () => {
      const { clock, create, errors } = start()
      const { subject, actor } = create()
      actor.send({ type: 'work' })
      expect(actor.send({ type: 'finish' })).toBe(true)
      expect(actor.value()).toBe('done')
      expect(actor.matches('done')).toBe(true)
      expect(subject.said.at(-1)).toBe('done')
      expect(clock.pending).toBe(0)
      expect(TYPES.filter((type) => actor.send({ type, text: '' }))).toEqual([])
      expect(actor.legal(TYPES)).toEqual([])
      clock.advance(LATE_MS)
      expect(actor.value()).toBe('done')
      expect(errors).toEqual([])
    })

    test('stop leaves no timer, runs no action, and nothing is taken after it', () => {
      const { clock, create, transitions, errors } = start()
      const a = create('a')
      const b = create('b')
      a.actor.send({ type: 'work' })
      const said = [...a.subject.said]
      const told = transitions.length
      a.actor.stop()
      a.actor.stop()
      expect(clock.pending).toBe(1)
      expect(a.subject.said).toEqual(said)
      expect(a.actor.send({ type: 'rest' })).toBe(false)
      expect(a.actor.legal(TYPES)).toEqual([])
      expect(transitions).toHaveLength(told)
      expect(b.actor.send({ type: 'work' })).toBe(true)
      expect(errors).toEqual([])
    })

    test('stop from within an action lets the event in hand end, and nothing more', () => {
      const { clock, create } = start()
      const { subject, actor } = create('a', { chain: [{ type: 'note', text: 'never' }] })
      subject.pass = () => actor.stop()
      actor.send({ type: 'pass' })
      expect(subject.said).toEqual(['enter idle', 'passed'])
      expect(actor.send({ type: 'work' })).toBe(false)
      expect(clock.pending).toBe(0)
    })

    test('onTransition is told the start, each event and each timer that was taken, and where it led', () => {
      const { clock, create, transitions } = start()
      const { actor } = create('a', { chain: [{ type: 'left' }] })
      actor.send({ type: 'chain' })
      clock.advance(LATE_MS)
      actor.send({ type: 'finish' })
      expect(transitions).toEqual([
        { name: 'a', type: 'xstate.init', value: 'idle' },
        { name: 'a', type: 'chain', value: BUSY },
        { name: 'a', type: 'left', value: { busy: { left: 'off', right: 'on' } } },
        {
          name: 'a',
          type: 'xstate.after.late.probe.busy.right.on',
          value: { busy: { left: 'off', right: 'off' } },
        },
        { name: 'a', type: 'finish', value: 'done' },
      ])
    })

    describe('what throws stops its own actor and touches no other', () => {
      const atWork = (run: (actor: Actor<ProbeEvent>, advance: (ms: number) => void) => void) => run
      const cases: Record<string, { at: string; when?: ReturnType<typeof atWork> }> = {
        'an entry action of the start': { at: 'enter idle' },
        'a delay of the start': { at: 'soon' },
        "an event's action, after it sent on": { at: 'fail', when: (actor) => actor.send({ type: 'boom' }) },
        'an exit action': { at: 'exit idle', when: (actor) => actor.send({ type: 'work' }) },
        'an entry action': { at: 'enter busy', when: (actor) => actor.send({ type: 'work' }) },
        'the second delay of a parallel state': { at: 'late', when: (actor) => actor.send({ type: 'work' }) },
        'a guard that send asks': { at: 'mayGo', when: (actor) => actor.send({ type: 'go' }) },
        'a guard that legal asks': { at: 'mayGo', when: (actor) => actor.legal(['note', 'go', 'work']) },
        "a timer's guard": { at: 'mayRepeat', when: (_, advance) => advance(SOON_MS) },
        "a timer's action": { at: 'fail', when: (_, advance) => advance(SOON_MS) },
        'an action of the final state': { at: 'done', when: (actor) => actor.send({ type: 'finish' }) },
      }
      test.each(Object.entries(cases))('%s', (_, { at, when }) => {
        const { clock, create, errors, transitions } = start()
        const other = create('other', { soonMs: 5_000 })
        const atStart = when === undefined
        const { subject, actor } = create('a', {
          throwIn: atStart ? at : undefined,
          chain: [{ type: 'note', text: 'never' }],
        })
        subject.throwIn = at
        const told = atStart ? 1 : transitions.length
        when?.(actor, (ms) => clock.advance(ms))
        const failure = [{ name: 'a', error: expect.objectContaining({ message: expect.stringContaining(at) }) }]
        expect(errors).toEqual(failure)
        expect(transitions).toHaveLength(told)
        expect(clock.pending).toBe(1)
        subject.throwIn = undefined
        expect(TYPES.filter((type) => actor.send({ type, text: 'never' }))).toEqual([])
        expect(actor.legal(TYPES)).toEqual([])
        expect(actor.matches('busy')).toBe(false)
        expect(() => actor.value()).not.toThrow()
        actor.stop()
        expect(subject.said).not.toContain('never')
        expect(other.actor.send({ type: 'note', text: 'alive' })).toBe(true)
        clock.advance(5_000)
        expect(other.actor.matches('busy')).toBe(true)
        expect(errors).toEqual(failure)
      })

      test('an actor that another one sends to', () => {
        const { clock, create, errors } = start()
        const b = create('b', { throwIn: 'fail' })
        const a = create('a', { soonMs: 5_000 })
        a.subject.pass = () => void b.actor.send({ type: 'boom' })
        expect(a.actor.send({ type: 'pass' })).toBe(true)
        expect(a.subject.said).toEqual(['enter idle', 'passed'])
        expect(errors.map((error) => error.name)).toEqual(['b'])
        expect(clock.pending).toBe(1)
        expect(a.actor.send({ type: 'work' })).toBe(true)
      })

      test('send answers true where its actor took the event and failed in an action', () => {
        const { create } = start()
        const { actor } = create('a', { throwIn: 'fail' })
        expect(actor.send({ type: 'boom' })).toBe(true)
      })
    })
  })
}
