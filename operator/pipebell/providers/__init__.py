"""What carries notifications: one file for each provider, one visible registry, and the transports below them.

    registry ─ email ─ mime, smtp ─ smtp_session ─ smtp_outcomes ─ smtp_answers ─┐
             │                  └ turns, dns                                     │
             └ slack ─ http ─────────────────────────────────────────────────────┴ failures, tls

A provider answers every attempt with an `Outcome`; what other libraries raise ends in this package.
"""
