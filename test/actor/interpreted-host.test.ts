import { createInterpretedHost } from '../../src/actor/interpreted-host.ts'
import { actorHostContract } from '../contracts/actor-host.ts'

actorHostContract('interpreted host', createInterpretedHost)
