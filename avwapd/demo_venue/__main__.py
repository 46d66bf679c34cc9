"""python -m avwapd.demo_venue"""

from avwapd.demo_venue.server import main

if __name__ == "__main__":
    main()
