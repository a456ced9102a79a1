"""Live sound between pages and PBXs: one asyncio process, the role `media`."""
